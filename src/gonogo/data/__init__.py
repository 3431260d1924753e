"""Data sources by the name that `params.yaml: prepare.source` gives them. docs/data.md says what each reads."""

from gonogo.data.anomalib_folder import AnomalibFolder
from gonogo.data.btad import BTAD
from gonogo.data.coco import Coco
from gonogo.data.digits import Digits
from gonogo.data.folder import Folder
from gonogo.data.kolektor_sdd import KolektorSDD, KolektorSDD2
from gonogo.data.lookout import Lookout
from gonogo.data.manifest_file import ManifestFile
from gonogo.data.mpdd import MPDD
from gonogo.data.mvtec_ad import MVTecAD
from gonogo.data.mvtec_ad_2 import MVTecAD2
from gonogo.data.mvtec_loco import MVTecLOCO
from gonogo.data.real_iad import RealIAD
from gonogo.data.rendered import Rendered
from gonogo.data.sample import Source
from gonogo.data.surfaces import Surfaces
from gonogo.data.visa import VisA

SOURCES: dict[str, type[Source]] = {
    "rendered": Rendered,
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
