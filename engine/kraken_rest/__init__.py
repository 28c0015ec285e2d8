"""Calls Kraken's REST API within the key's budget: in the order router's process, and in
`engine check`.
"""
