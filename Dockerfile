# billtrack in one image:
#   docker build -t billing-tracker .
#   docker run -p 6009:6009 -v billtrack:/data billing-tracker
# runs `billtrack up`: SQLite, web and worker, everything kept in /data. Other commands:
# docker run … billing-tracker worker, docker exec -it … billtrack create-admin.

FROM python:3.13-slim AS packages

# A venv without pip: what runs needs none, and the base image has one that fills it.
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt requirements-dev.txt /tmp/
# The object store for s3:// addresses is locked in the developers' file, at the same versions.
RUN sed -n '/^obstore==/,/[^\\]$/p' /tmp/requirements-dev.txt >/tmp/requirements-s3.txt \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
        --require-hashes --only-binary :all: \
        -r /tmp/requirements.txt -r /tmp/requirements-s3.txt


FROM python:3.13-slim

LABEL org.opencontainers.image.title="billtrack" \
    org.opencontainers.image.description="Self-hosted usage tracker and billing system" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"

# pg_dump is for backups, most else for PDFs. Letters of Chinese, Japanese and Korean names are
# 57 MB of fonts, without which an invoice would show boxes; --build-arg FONTS= leaves them out.
# tini is process 1: it passes signals on from the first moment and buries orphans.
ARG FONTS=fonts-noto-cjk
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libharfbuzz-subset0 libpango-1.0-0 libpangoft2-1.0-0 postgresql-client tini ${FONTS} \
    && rm -rf /var/lib/apt/lists/*

# The number is fixed, so that folders of the host can be given to it: chown 10001 FOLDER.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin \
        billtrack \
    && install -d -o billtrack -g billtrack -m 0700 /data

# Before the sources, which change more often.
COPY --from=packages /opt/venv /opt/venv
COPY . /app
# In place, as in a checkout: the migrations and wsgi.py lie beside the package.
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-deps \
        --no-build-isolation --no-index --editable /app \
    && /opt/venv/bin/python -m compileall -q /app/billtrack

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BILLTRACK_HOST=0.0.0.0 \
    BILLTRACK_DATA_DIR=/data
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 6009
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["billtrack", "healthcheck"]
ENTRYPOINT ["tini", "--", "billtrack"]
CMD ["up"]
