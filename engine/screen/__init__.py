"""What a terminal shows of a running engine, as rows and as drawings of them: one home for
the view of `engine run` and for `engine top`.
"""
