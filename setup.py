"""Build the package; what it consists of is in setup.cfg."""

import base64
import hashlib
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel

# The import hook of an editable install comes after all folders, so that any folder called `wenlan` beside a script,
# such as the one that a clone lies in, hides the package. This line runs when Python starts, after the hook's own.
NAME = "__editable__wenlan_hook_first.pth"
HOOK = "__editable___wenlan_"
LINE = (
    f'import sys; sys.meta_path.sort(key=lambda finder: not getattr(finder, "__module__", "").startswith("{HOOK}"))\n'
)


class EditableWheel(editable_wheel):
    """An editable wheel whose import hook is asked first."""

    def run(self) -> None:
        """Build the wheel and add the line."""
        super().run()
        for path in Path(self.dist_dir or "dist").glob("*.whl"):
            _add_file(path, NAME, LINE.encode())


def _add_file(wheel: Path, name: str, data: bytes) -> None:
    """Add a file to a wheel, and to its RECORD."""
    with ZipFile(wheel) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    record = next(one for one in files if one.endswith(".dist-info/RECORD"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    files[name] = data
    files[record] += f"{name},sha256={digest},{len(data)}\n".encode()
    with ZipFile(wheel, "w", ZIP_DEFLATED) as archive:
        for one, content in files.items():
            archive.writestr(one, content)


setup(cmdclass={"editable_wheel": EditableWheel})
