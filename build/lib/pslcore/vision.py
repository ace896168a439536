"""torchvision, importable beside the CPU build of torch as well.

torchvision's wheels register fake kernels for operators that only their CUDA-linked library defines; beside a
CPU-only torch that library does not load and the import fails. Declaring the operators first is enough: models,
transforms and data sets then work (``torchvision.ops.*`` still does not). Import torchvision from here only.
"""

import torch

_DECLARED = None
if not torch.cuda.is_available() and torch.version.cuda is None:
    _DECLARED = torch.library.Library("torchvision", "DEF")  # the declarations live as long as this object
    for _name in ("nms", "qnms"):
        _DECLARED.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402

__all__ = ["torchvision"]
