"""The private calls of Kraken's REST that the venue lacks: money in and out, earning,
reports, subaccounts.

Kraken refuses them to a key without the permission, and no key of the venue has any of
these.
"""

from typing import Any, Final

from engine.errors import VenueReject
from engine.units import WallNs
from engine.venue.rest.orders import RestCall
from engine.venue.rest.params import Params
from engine.venue.setup.keys import PERMISSION_DENIED, ApiKey

UNSERVED: Final = (
    # reports, credit, market data by the order
    "AddExport", "ExportStatus", "RetrieveExport", "RemoveExport", "CreditLines", "Level3",
    # money in and out
    "DepositMethods", "DepositAddresses", "DepositStatus", "WithdrawMethods", "WithdrawAddresses", "WithdrawInfo",
    "Withdraw", "WithdrawStatus", "WithdrawCancel", "WalletTransfer", "ListWalletAccounts",
    # subaccounts
    "CreateSubaccount", "AccountTransfer",
    # earning, and staking before it
    "Earn/Allocate", "Earn/Deallocate", "Earn/AllocateStatus", "Earn/DeallocateStatus", "Earn/Strategies",
    "Earn/Allocations", "Stake", "Unstake", "Staking/Assets", "Staking/Pending", "Staking/Transactions",
)  # fmt: skip


def unserved_calls() -> dict[str, tuple[tuple[str, ...], RestCall]]:
    """By method: the permissions that are checked first, and the call, which refuses every
    key.
    """
    return dict.fromkeys(UNSERVED, ((), _denied))


def _denied(api_key: ApiKey, params: Params, at: WallNs) -> Any:
    raise VenueReject(PERMISSION_DENIED)
