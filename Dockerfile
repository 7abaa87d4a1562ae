# The predictor on a CPU:
#
#   docker build --tag refinedet .
#   docker run --rm --volume "$PWD:/data" refinedet predict --weights best.safetensors --output found photos/
#
# Built in two steps, so that the compiler stays behind.
FROM python:3.12-slim AS build
# Debian keeps one version of g++ in a release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/refinedet
ENV PATH=/opt/refinedet/bin:$PATH
# torch without CUDA from its own index: a fifth of the size of PyPI's.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.11"
COPY . /src
# pyproject.toml says which versions do.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir "setuptools>=77" "cmake>=3.26" ninja "pybind11>=2.13" \
    && pip install --no-cache-dir --no-build-isolation "/src[train]" \
    && pip uninstall --yes cmake ninja pybind11

FROM python:3.12-slim
COPY --from=build /opt/refinedet /opt/refinedet
ENV PATH=/opt/refinedet/bin:$PATH
RUN useradd --create-home --uid 1000 refinedet
USER 1000
# Fails while the image is built where something is missing.
RUN refinedet info >/dev/null
WORKDIR /data
ENTRYPOINT ["refinedet"]
CMD ["--help"]
