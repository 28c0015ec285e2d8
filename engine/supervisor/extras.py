"""Optional parts of the installation: `pip install 'kraken-engine[metrics]'`."""

import importlib.util

from engine.errors import ConfigError


def need_extra(module: str, extra: str, wanted_by: str) -> None:
    """Raise ConfigError, which says how to install the extra, if this module of it is
    missing.
    """
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"{wanted_by} needs the package {module.replace('_', '-')}; install it with "
            f"`pip install 'kraken-engine[{extra}]'`"
        )
