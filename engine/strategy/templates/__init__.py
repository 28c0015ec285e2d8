"""What `engine new` writes: a folder for each kind of strategy, which runs and is tested
where it is.

A copy is called what the user calls it: `my-bot` in a template's files, and the package of
its imports, are replaced.
"""
