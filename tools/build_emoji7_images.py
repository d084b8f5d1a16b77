"""The images of emoji7: finds each concept's drawing in six art sets and renders it at 96 x 96 pixels as WebP.

*style*: one art set, such as `noto`. Iconify sets hold SVG bodies keyed by a name; `fluent3d` holds WebP files
keyed by code points.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SIDE = 96
QUALITY = 85

# style -> package. A set without code points of its own is read by the names that the sets of NAMING give.
ICONIFY_STYLES = {
    "noto": "@iconify-json/noto",
    "twemoji": "@iconify-json/twemoji",
    "notov1": "@iconify-json/noto-v1",
    "emojitwo": "@iconify-json/emojione",
    "fluentflat": "@iconify-json/fluent-emoji-flat",
}
NAMING = ("noto", "twemoji", "fluentflat")
FLUENT3D = "@lobehub/fluent-emoji-3d"
STYLES = (*ICONIFY_STYLES, "fluent3d")

# Found by comparing bytes inside a set and by looking at the worst matches between sets.
CRICKET, CAT_FACE, GRINNING_CAT = "1f997", "1f431", "1f63a"
WRONG_DRAWINGS = {
    "notov1": {CRICKET},  # the name leads to the bat-and-ball game
    "emojitwo": {CRICKET},
    "fluentflat": {CAT_FACE, GRINNING_CAT},  # one image for both
    "fluent3d": {CAT_FACE, GRINNING_CAT},
}


@dataclass(frozen=True)
class IconSet:
    """One Iconify set: the SVG bodies by name, other names of them, and the names by code point (often none)."""

    icons: dict[str, dict]
    aliases: dict[str, dict]
    names: dict[str, str]
    width: int
    height: int

    @classmethod
    def read(cls, folder: Path) -> "IconSet":
        """Read `icons.json` and `chars.json` of an unpacked package."""
        icons = json.loads((folder / "icons.json").read_text("utf-8"))
        names = json.loads((folder / "chars.json").read_text("utf-8"))
        return cls(
            icons=icons["icons"],
            aliases=icons.get("aliases", {}),
            names={bare_code(code): name for code, name in names.items()},
            width=icons["width"],
            height=icons["height"],
        )

    def svg(self, name: str) -> str | None:
        """Return the drawing as SVG, or None if the set has none by that name or only a transformed alias."""
        while name in self.aliases and name not in self.icons:
            if set(self.aliases[name]) != {"parent"}:
                return None
            name = self.aliases[name]["parent"]
        if name not in self.icons:
            return None
        icon = self.icons[name]
        box = (icon.get("left", 0), icon.get("top", 0), icon.get("width", self.width), icon.get("height", self.height))
        # Width and height make a drawing that is not square sit in the middle of a square one.
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{SIDE}" height="{SIDE}" viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'
        )


def bare_code(code: str) -> str:
    """Return the code points without U+FE0F, which sets write or leave out as they like."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def draw_style(packages: Path, style: str, concepts: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (concept, WebP bytes of an RGBA image) for the concepts that the style draws."""
    drawings = read_fluent3d(packages, concepts) if style == "fluent3d" else render_icons(packages, style, concepts)
    for concept, image in drawings:
        if concept not in WRONG_DRAWINGS.get(style, ()):
            yield concept, encode_webp(image, photographic=style == "fluent3d")


def render_icons(packages: Path, style: str, concepts: list[str]) -> Iterator[tuple[str, Image.Image]]:
    """Yield (concept, RGBA image) from an Iconify set."""
    import resvg_py  # only the builder needs it

    icon_set = IconSet.read(packages / ICONIFY_STYLES[style])
    naming = [icon_set]
    if not icon_set.names:
        naming = [IconSet.read(packages / ICONIFY_STYLES[other]) for other in NAMING]
    for concept in concepts:
        names = [other.names[bare_code(concept)] for other in naming if bare_code(concept) in other.names]
        svg = next((svg for svg in map(icon_set.svg, names) if svg), None)
        if svg:
            png = resvg_py.svg_to_bytes(svg_string=svg)
            yield concept, Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def read_fluent3d(packages: Path, concepts: list[str]) -> Iterator[tuple[str, Image.Image]]:
    """Yield (concept, RGBA image) from the rendered WebP files."""
    assets = packages / FLUENT3D / "assets"
    by_bare_code = {bare_code(file.stem): file for file in sorted(assets.glob("*.webp"))}
    for concept in concepts:
        exact = assets / f"{concept}.webp"  # two concepts have a second file, written without U+FE0F
        file = exact if exact.exists() else by_bare_code.get(bare_code(concept))
        if file is not None:
            with Image.open(file) as image:
                yield concept, image.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def encode_webp(image: Image.Image, *, photographic: bool) -> bytes:
    """WebP bytes: quality 85 for a photographic image, else the smaller of lossless and quality 85."""
    encodings = []
    for options in [{"quality": QUALITY}] if photographic else [{"quality": QUALITY}, {"lossless": True}]:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", **options)
        encodings.append(buffer.getvalue())
    return min(encodings, key=len)


__all__ = ["FLUENT3D", "ICONIFY_STYLES", "STYLES", "draw_style", "encode_webp"]
