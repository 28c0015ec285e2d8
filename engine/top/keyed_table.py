"""A table whose rows have keys: what has not changed is not drawn again."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.widgets import DataTable

Cell = str | Text


class KeyedTable(DataTable[Cell]):
    """Rows by key; while it has the focus, the cursor stays on its key as rows come and go."""

    def __init__(self, columns: Sequence[str], *, id: str, stays: bool = False) -> None:
        """`stays`: the cursor stays on its key without the focus, too; else it goes back to
        the top."""
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self._columns = tuple(columns)
        self._stays = stays
        self._shown: dict[str, Sequence[Cell]] = {}

    def on_mount(self) -> None:
        """Make the columns."""
        for name in self._columns:
            self.add_column(name, key=name)

    @property
    def keys(self) -> list[str]:
        """Of its rows, in their order."""
        return list(self._shown)

    @property
    def chosen(self) -> str:
        """The key under the cursor; empty in a table without rows."""
        if not self._shown or self.cursor_row >= self.row_count:
            return ""
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value or ""

    def show_rows(self, rows: Mapping[str, Sequence[Cell]]) -> None:
        """Show these rows, in their order."""
        if list(rows) == list(self._shown):
            self._update_cells(rows)
        else:
            self._make_anew(rows)
        self._shown = dict(rows)

    def _update_cells(self, rows: Mapping[str, Sequence[Cell]]) -> None:
        for key, cells in rows.items():
            for name, cell, before in zip(self._columns, cells, self._shown[key], strict=True):
                if cell != before:
                    self.update_cell(key, name, cell, update_width=len(cell) > len(before))

    def _make_anew(self, rows: Mapping[str, Sequence[Cell]]) -> None:
        chosen, row = self.chosen, self.cursor_row
        self.clear()
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        keys = list(rows)
        if not self.has_focus and not self._stays:
            row = 0
        elif chosen in rows:
            row = keys.index(chosen)
        self.move_cursor(row=min(row, max(0, len(keys) - 1)))
