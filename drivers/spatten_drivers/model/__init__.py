# SPDX-License-Identifier: BSD-2-Clause
"""The bit-exact software model: it runs binary layer jobs on an image of device memory."""

from .execute import Model, execute_job
from .kernels import KERNELS, available_kernels, kernel_name

__all__ = ["KERNELS", "Model", "available_kernels", "execute_job", "kernel_name"]
