"""A systemd unit as systemd.syntax(7) has it: sections of `Name=value`, names may come again."""

from pathlib import Path


class Unit:
    """The directives of a unit file."""

    def __init__(self, path: Path) -> None:
        self.directives: dict[str, list[tuple[str, str]]] = {}
        section = ""
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if not line or line[0] in "#;":
                continue
            if line.startswith("["):
                assert line.endswith("]"), f"line {number}: {line}"
                section = line[1:-1]
                self.directives[section] = []
                continue
            name, equals, value = line.partition("=")
            assert equals, f"line {number}: {line}"
            assert name == name.strip(), f"line {number}: {line}"
            self.directives[section].append((name, value))

    def all(self, section: str, name: str) -> list[str]:
        """Every value of a directive, in order."""
        return [value for known, value in self.directives[section] if known == name]

    def one(self, section: str, name: str) -> str:
        """The only value of a directive."""
        (value,) = self.all(section, name)
        return value
