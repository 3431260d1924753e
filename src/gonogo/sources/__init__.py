"""Data sources by the name that `params.yaml: prepare.source` gives them. docs/data.md says what each reads."""

from gonogo.sample import Source
from gonogo.sources.anomalib_folder import AnomalibFolder
from gonogo.sources.btad import BTAD
from gonogo.sources.coco import Coco
from gonogo.sources.digits import Digits
from gonogo.sources.folder import Folder
from gonogo.sources.kolektor_sdd import KolektorSDD, KolektorSDD2
from gonogo.sources.lookout import Lookout
from gonogo.sources.manifest_file import ManifestFile
from gonogo.sources.mpdd import MPDD
from gonogo.sources.mvtec_ad import MVTecAD
from gonogo.sources.mvtec_ad_2 import MVTecAD2
from gonogo.sources.mvtec_loco import MVTecLOCO
from gonogo.sources.real_iad import RealIAD
from gonogo.sources.surfaces import Surfaces
from gonogo.sources.visa import VisA

SOURCES: dict[str, type[Source]] = {
    "surfaces": Surfaces,
    "digits": Digits,
    "folder": Folder,
    "manifest": ManifestFile,
    "coco": Coco,
    "anomalib": AnomalibFolder,
    "lookout": Lookout,
    "mvtec_ad": MVTecAD,
    "mvtec_ad_2": MVTecAD2,
    "mvtec_loco": MVTecLOCO,
    "visa": VisA,
    "btad": BTAD,
    "mpdd": MPDD,
    "kolektor_sdd": KolektorSDD,
    "kolektor_sdd_2": KolektorSDD2,
    "real_iad": RealIAD,
}
