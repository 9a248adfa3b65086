"""What is a table, in Markdown, LaTeX and as plain rows?"""

from collections.abc import Iterable
from dataclasses import dataclass

_TEX_SPECIAL = str.maketrans({c: f"\\{c}" for c in "_%&#$"})


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first `labels` columns name the row, the others measure it."""

    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 2
    bold: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the cells that stand out."""

    def markdown(self) -> str:
        """The table in GitHub's Markdown, figures aligned right, the caption above."""
        rule = ["---"] * self.labels + ["---:"] * (len(self.head) - self.labels)
        rows = [
            [f"**{cell}**" if (i, j) in self.bold else cell for j, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
        lines = [f"| {' | '.join(row)} |" for row in (self.head, rule, *rows)]
        return f"**{self.title}.** {self.caption}\n\n" + "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A LaTeX table that needs the package booktabs; a rule parts the first column's groups."""
        columns = "l" * self.labels + "r" * (len(self.head) - self.labels)
        body = []
        for i, row in enumerate(self.rows):
            if i and row[0] != self.rows[i - 1][0]:
                body.append(r"\midrule")
            cells = [
                rf"\textbf{{{cell}}}" if (i, j) in self.bold else cell
                for j, cell in enumerate(_escaped(row))
            ]
            body.append(" & ".join(cells) + r" \\")
        (caption,) = _escaped([f"{self.title}. {self.caption}"])
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                rf"{' & '.join(_escaped(self.head))} \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def _escaped(cells: Iterable[str]) -> list[str]:
    return [cell.translate(_TEX_SPECIAL) for cell in cells]
