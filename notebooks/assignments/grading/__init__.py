"""Grades the assignments: the student's process answers, the judge's process compares.

plain       what may pass between the two: numbers, words, lists, arrays; never a pickle
submission  finds notebooks and reads them as data
magics      cells without what only IPython understands
sandbox     starts the student's process and stops it
inside      the program that runs there, with adapters
judge       inputs from the teacher's secret, points and a sentence for each exercise
assignment_NN  the exercises of one assignment: inputs, right answers, known mistakes
grade       puts it together for a folder of submissions
report      scores as CSV, feedback and explanations to read as HTML
show        hidden inputs and right answers of one exercise, for an appeal
release     the students' editions, made by nbgrader
"""
