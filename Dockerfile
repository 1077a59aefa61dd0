# One image for every Airflow service of docker-compose.yml. The project is read-only inside;
# state lies in volumes. Build: docker compose build
FROM python:3.11.13-slim-bookworm AS build

ENV UV_PROJECT_ENVIRONMENT=/opt/venv \
    UV_PYTHON=/usr/local/bin/python3.11 \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir uv==0.13.9

WORKDIR /opt/zicht
# The dependencies change seldom and are a layer of their own.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project
COPY src ./src
RUN uv sync --frozen --no-dev --no-editable


FROM python:3.11.13-slim-bookworm

LABEL org.opencontainers.image.title="zicht" \
      org.opencontainers.image.licenses="Apache-2.0"

# A volume that is mounted for the first time takes over the owner of the folder below it.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin zicht \
    && install -d -o 50000 -g 0 -m 0750 /srv/zicht /srv/airflow

COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/zicht
COPY expectations ./expectations
COPY dbt_project ./dbt_project
COPY dags ./dags

ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    ZICHT_PROJECT=/opt/zicht \
    ZICHT_HOME=/srv/zicht \
    AIRFLOW_HOME=/srv/airflow

USER 50000:0
HEALTHCHECK NONE
CMD ["zicht", "--help"]
