"""The layout of the screen: side by side where there is room, one of two pages where not."""

from typing import Final

WIDE_COLUMNS: Final = 150
TALL_LINES: Final = 40

CSS: Final = """
Screen { layout: vertical; }
#head { height: 1; background: $panel; color: $text; text-style: bold; padding: 0 1; }
#condition { height: auto; max-height: 3; padding: 0 1; }
#condition.-wrong { background: $error; color: $text; text-style: bold; }
#condition.-well { display: none; }
#body { height: 1fr; }
#market { width: 1fr; }
#engine { width: 72; padding-left: 1; }
#pairs { height: auto; max-height: 30%; min-height: 3; }
#trading { height: 1fr; }
#prices { width: 1fr; min-width: 42; max-width: 64; }
#ladder { height: 1fr; max-height: 24; }
#money { height: 3; min-height: 3; }
.-tall #money { height: 1fr; max-height: 12; }
#flow { width: 1fr; }
#orders { height: 1fr; min-height: 4; }
#fills { height: 1fr; min-height: 3; }
DataTable { scrollbar-size: 0 1; }
Panel { border-top: solid $primary; border-title-color: $text; border-title-style: bold; height: auto;
    text-wrap: nowrap; text-overflow: ellipsis; }
#orders { border-top: solid $primary; border-title-color: $text; border-title-style: bold; }
DataTable { background: $background; }
.-narrow #engine { display: none; width: 1fr; padding-left: 0; }
.-narrow.-engine-page #engine { display: block; }
.-narrow.-engine-page #market { display: none; }
Confirm { align: center middle; }
#question { width: 60; height: auto; border: thick $error; background: $surface; padding: 1 2; }
#question .keys { margin-top: 1; text-style: bold; }
"""
