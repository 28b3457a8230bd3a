# The scheduler's image with PostgreSQL's client programs, for backups by pg_dump in a CronJob of their own (docs/backups.md). Other programs of
# that kind (pgbackrest, wal-g) are added the same way.
#
#   docker build -t petdog/battlescope-scheduler-backup:latest -f docker/backup.Dockerfile docker
#
# A file of its own, and no stage of the other: the builder of older Dockers makes every stage that stands before the last one, and the image
# of every day shall need neither Debian's servers nor the time.
ARG SCHEDULER_IMAGE=petdog/battlescope-scheduler:latest

FROM ${SCHEDULER_IMAGE}
# pg_dump must be as new as the server. What a base of Debian 12 has is 15, of Debian 13 17 (build the scheduler's image with
# NODE_IMAGE=node:20-trixie-slim); a package by its full name, such as postgresql-client-17, where another source of packages was added.
ARG POSTGRESQL_CLIENT=postgresql-client
USER 0:0
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$POSTGRESQL_CLIENT" \
    && rm -rf /var/lib/apt/lists/* \
    && pg_dump --version && pg_restore --version
USER 1000:1000
