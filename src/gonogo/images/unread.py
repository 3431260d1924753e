"""Files and folders among images that are not read: which these are, and what is said of them, at every door."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gonogo.images.foreign import FOREIGN_SUFFIXES
from gonogo.text import in_utf8, listed

UNREAD_SUFFIXES = FOREIGN_SUFFIXES | frozenset(  # of all files that may hold images, in lower case
    {".hdr", ".psd", ".xcf", ".svg", ".eps", ".ico", ".icns", ".npy", ".npz", ".mat", ".nii"}
    | {".czi", ".lif", ".fits", ".fit", ".dds", ".qoi", ".sgi", ".rgb", ".bw", ".xbm", ".xpm"}
    | {".msp", ".im", ".spi", ".ima", ".hobj", ".h5", ".hdf5", ".tfrecord", ".mp4", ".avi", ".mov"}
    | {".mkv", ".wmv", ".webm", ".mpg", ".mpeg", ".m4v", ".zip", ".rar", ".7z", ".tar", ".tgz"}
    | {".gz", ".xz", ".zst", ".pdf"}
)
# That systems put among images.
SYSTEM_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
EXAMPLES, FOLDERS = 3, 5  # that are named


@dataclass
class Unread:
    """What was come across and not read.

    Attributes:
        files: by folder, how many files, and the first of them.
        links: folders that links lead to.
    """

    files: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)

    @property
    def n_files(self) -> int:
        """The number of all files."""
        return sum(count for count, _ in self.files.values())

    def add(self, folder: str, names: Iterable[str]) -> None:
        """Add files of a folder."""
        count, examples = self.files.get(folder, (0, []))
        for name in names:
            count += 1
            if len(examples) < EXAMPLES:
                examples.append(name)
        if count:
            self.files[folder] = (count, examples)

    def sentences(self) -> list[str]:
        """What is said of them: of the files how many, where and the first of them, and which links."""
        said = []
        if self.files:
            folders = [
                f"{count} in {in_utf8(folder)} ({_first(examples, count)})"
                for folder, (count, examples) in self.files.items()
            ]
            said.append(
                f"{self.n_files} files of formats that are not read (save them as PNG if they are images to use): "
                + listed(folders, FOLDERS)
            )
        if self.links:
            links = listed([in_utf8(link) for link in self.links], FOLDERS)
            said.append(f"links to folders are not followed (name these folders themselves): {links}")
        return said


def _first(examples: list[str], count: int) -> str:
    more = f" and {count - len(examples)} more" if count > len(examples) else ""
    return ", ".join(map(in_utf8, examples)) + more
