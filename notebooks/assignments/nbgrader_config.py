"""nbgrader's settings for this course: formgrader and nbgrader's commands read them in this folder.

Grades given by nbgrader's own autograder are not isolated: README.md says what that means.
"""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821 (nbgrader brings it)
here = Path(__file__).resolve().parent
c.CourseDirectory.root = str(here)
c.CourseDirectory.course_id = "vgg"
sys.path.insert(0, str(here))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH")]))  # for hidden cells
c.ClearSolutions.code_stub = {"python": "...  # your code"}
c.ExecutePreprocessor.timeout = 120  # seconds a cell
c.ExecutePreprocessor.error_on_timeout = {"ename": "Timeout", "evalue": "the cell took too long", "traceback": []}
