"""The account ring: facts about orders and money from the private feed, for the order
router alone.
"""

from engine.orders.rings.framing import Framing
from engine.orders.venue_facts import AccountFact

ACCOUNT_RECORD_BYTES = 2040  # an execution with every field is some 600
ACCOUNT_SLOTS = 4096  # a snapshot of 225 open orders on each of ten pairs, and 50 fills

ACCOUNT_FACTS: Framing[AccountFact] = Framing(AccountFact, ACCOUNT_RECORD_BYTES)
