"""The checks behind the exercises, one file a chapter or assignment; ``teaching`` holds their tools."""
