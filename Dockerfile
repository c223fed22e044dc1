# Two images of one code: `serve` (web, inference worker, beat) and `train` (with TensorFlow).

FROM python:3.13-slim AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HEMATOVISION_DATA_DIR=/data \
    HEMATOVISION_STATIC_DIR=/data/static \
    HEMATOVISION_HOST=0.0.0.0 \
    MALLOC_TRIM_THRESHOLD_=131072
RUN useradd --create-home --uid 1000 hematovision \
    && install --directory --owner hematovision /data
WORKDIR /app

FROM base AS libraries-serve
RUN python -m venv /venv
COPY constraints.txt requirements-serve.txt ./
RUN pip install --no-cache-dir --requirement requirements-serve.txt

FROM libraries-serve AS libraries-train
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt

FROM base AS train
COPY --from=libraries-train /venv /venv
COPY . .
USER hematovision
VOLUME /data

FROM base AS serve
COPY --from=libraries-serve /venv /venv
COPY . .
USER hematovision
VOLUME /data
EXPOSE 8000
CMD ["gunicorn", "hematovision.wsgi"]
