"""The living pictures of the site: a Sphinx extension that puts them on pages and writes what they need.

A page holds one as::

    ```{living} divergence
    ```

The sources are ES modules. A browser does not load those from file://, so `bundled` makes one classic script of them.
"""

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util.osutil import relative_uri

from . import weights

HERE = Path(__file__).parent
# In the order in which they need each other.
MODULES = ("numbers", "page", "divergence", "shadows", "cave", "chain", "latent", "levels", "twins", "main")
STILLS = {
    "divergence": "Two Gaussians, and the integrands of the divergence in both directions.",
    "cave": "A cube between a fire and a wall, and its shadow on the wall.",
    "chain": "The densities of all levels of a chain, dissolving and brought back, and one step of it.",
    "latent-map": "The plane of a VAE with two latents, an image's exact posterior beside q, and a decoded point.",
    "levels": "Digits drawn from a chain of two levels with the upper one kept, and with the lower one kept.",
    "twins": "Draws from four models, of which three were trained with one line wrong.",
}


def bundled() -> str:
    """All modules as one script: each becomes a function that returns its exports, and imports take from those."""
    parts = []
    for name in MODULES:
        source = (HERE / f"{name}.js").read_text(encoding="utf-8")
        source = re.sub(r'^import \{(.*?)\} from "\./(\w+)\.js";$', _taken, source, flags=re.MULTILINE | re.DOTALL)
        exports = ", ".join(re.findall(r"^export (?:const|function\*?) (\w+)", source, re.MULTILINE))
        source = re.sub(r"^export ", "", source, flags=re.MULTILINE)
        parts.append(f"living.{name} = (() => {{\n{source}\nreturn {{ {exports} }};\n}})();")
    body = "\n".join(parts)
    return f'"use strict";\nif (!window.living) {{\nconst living = (window.living = {{}});\n{body}\n}}\n'


def _taken(match: re.Match[str]) -> str:
    return f"const {{{re.sub(r' as ', ': ', match[1])}}} = living.{match[2]};"


def markup(name: str, static: str) -> str:
    """The HTML of one picture; `static` leads from the page to the folder that `write` has filled."""
    data = f'<script defer src="{static}/data/{name}.js"></script>' if name in weights.DATA else ""
    return (
        f'<link rel="stylesheet" href="{static}/living.css">'
        f'<div class="living" data-picture="{name}"><noscript>'
        f'<img src="{static}/stills/{name}.png" alt="{STILLS[name]}">'
        "<p>The picture moves where JavaScript is switched on.</p></noscript></div>"
        f'{data}<script defer src="{static}/living.js"></script>'
    )


def alone(name: str, folder: Path) -> Path:
    """A page with nothing but one picture, beside the folder `living` that `write` has filled."""
    page = folder / f"{name}.html"
    page.write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>A living picture</title>'
        f'<meta name="viewport" content="width=device-width"><body>{markup(name, "living")}</body></html>',
        encoding="utf-8",
    )
    return page


def write(folder: Path) -> None:
    """Writes the script, the style and the stills into a folder, which is made if need be."""
    shutil.copytree(HERE / "stills", folder / "stills", dirs_exist_ok=True)
    shutil.copyfile(HERE / "living.css", folder / "living.css")
    (folder / "living.js").write_text(bundled(), encoding="utf-8")
    (folder / "data").mkdir(exist_ok=True)
    for name in weights.DATA:
        (folder / "data" / f"{name}.js").write_text(weights.script(name), encoding="utf-8")


class living(nodes.General, nodes.Element):
    """The place of a picture."""


class Living(Directive):
    """`{living} name`: see the module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in STILLS:
            raise self.error(f"picture is {self.arguments[0]!r}: expected one of {', '.join(STILLS)}")
        return [living(picture=self.arguments[0])]


def _visit(translator: Any, node: living) -> None:
    builder = translator.builder
    page = builder.get_target_uri(builder.current_docname)
    translator.body.append(markup(node["picture"], relative_uri(page, posixpath.join("_static", "living"))))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_node(living, html=(_visit, None))
    app.add_directive("living", Living)
    app.connect("builder-inited", lambda app: write(Path(app.outdir) / "_static" / "living"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
