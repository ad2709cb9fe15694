# whisperctl, and a local UbiOps for a CI (compose.yaml):
#   docker run --rm -v "$PWD:/work" -e UBIOPS_API_TOKEN -e UBIOPS_PROJECT whisperctl plan
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
# The lock's versions, held to their hashes; what builds is not in the image.
RUN python -c "import sys; sys.path.insert(0, 'scripts'); import set_up; print(set_up.hashed(set_up.locked()['uv']))" > /tmp/uv.txt \
    && pip install --no-cache-dir --require-hashes --no-deps --requirement /tmp/uv.txt \
    && uv venv --quiet /opt/build \
    && uv venv --quiet /opt/whisperctl \
    && uv export --frozen --quiet --only-group build --output-file /tmp/build.txt \
    && uv export --frozen --quiet --no-dev --all-extras --no-extra serve --no-emit-project --output-file /tmp/run.txt \
    && uv pip install --quiet --python /opt/build --require-hashes --requirement /tmp/build.txt \
    && uv pip install --quiet --python /opt/whisperctl --require-hashes --requirement /tmp/run.txt \
    && uv build --quiet --wheel --python /opt/build --no-build-isolation --out-dir /opt/dist \
    && uv pip install --quiet --python /opt/whisperctl --no-deps /opt/dist/*.whl

FROM python:3.13-slim
RUN useradd --create-home --uid 1000 whisperctl && install --directory --owner whisperctl /work /token
COPY --from=build /opt/whisperctl /opt/whisperctl
ENV PATH=/opt/whisperctl/bin:$PATH
USER 1000
WORKDIR /work
ENTRYPOINT ["whisperctl"]
CMD ["--help"]
