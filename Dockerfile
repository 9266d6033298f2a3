# fiberd's image (docs/docker.md): `runtime`, on Debian, which is what a build without --target makes; and `tiny`, with
# nothing but the binary and what it needs.
#
#   docker build -t fiberd .
#   docker build --target tiny -t fiberd:tiny .
#   buildah build --format docker -t fiberd .     (only Docker's format knows HEALTHCHECK)
#
# Build arguments: VERSION, REVISION, CREATED, SOURCE for the labels; BASE, the Debian 12 that all stages begin with.
ARG BASE=docker.io/library/debian:bookworm-slim

# What compiles. A change of code installs no compiler again, and a change of docs or tests compiles nothing.
FROM ${BASE} AS build
WORKDIR /src
COPY deploy/packages.txt deploy/install-packages deploy/
RUN deploy/install-packages build && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY deploy/cmake deploy/cmake
COPY core core
COPY config config
COPY daemon daemon
ARG REVISION=unknown
RUN cmake --preset release -DFIBERD_TESTS=OFF -DFIBERD_COMMIT="${REVISION}" \
 && cmake --build --preset release --target fiberd \
 && mkdir /out && cp build/release/fiberd /out/fiberd

# Without what only a debugger reads (--target debug has that). The names of functions stay, for dumps of fibers: once,
# that is those in .symtab alone that the dynamic linker's table does not have.
FROM ${BASE} AS stripped
RUN apt-get update -q > /dev/null && apt-get install -y -q --no-install-recommends binutils ca-certificates > /dev/null
COPY --from=build /out/fiberd /fiberd.whole
RUN mkdir -p /out/usr/bin /out/debug \
 && objcopy --only-keep-debug --compress-debug-sections /fiberd.whole /out/debug/fiberd.debug \
 && nm --dynamic --defined-only --format=posix /fiberd.whole | cut -d ' ' -f 1 | sort -u > /exported \
 && nm --defined-only --format=posix /fiberd.whole | awk '$2 ~ /^[tTwWi]$/ {print $1}' | sort -u > /functions \
 && comm -13 /exported /functions > /others \
 && objcopy --strip-all --keep-symbols=/others /fiberd.whole /out/usr/bin/fiberd \
 && objcopy --add-gnu-debuglink=/out/debug/fiberd.debug /out/usr/bin/fiberd

# The symbols of that binary: put them beside it, or below /usr/lib/debug.
FROM scratch AS debug
COPY --from=stripped /out/debug/fiberd.debug /fiberd.debug

# Debian with the libraries, the user and the files: all that both images have.
FROM ${BASE} AS furnished
COPY deploy/packages.txt deploy/install-packages /tmp/deploy/
# A user and a group of its own. Nothing of it is writable but /run/fiberd, for Unix sockets. The licenses that Debian
# lists of Boost as a whole are 2 MB.
RUN /tmp/deploy/install-packages runtime > /dev/null \
 && groupadd --gid 10001 fiberd \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
      --comment "fiberd" fiberd \
 && install -d -o 10001 -g 10001 -m 0755 /run/fiberd \
 && find /usr/share/doc -type f -name copyright -size +256k -exec gzip -9n {} + \
 && rm -rf /tmp/deploy /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/*.log \
      /var/lib/dpkg/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- \
      /usr/share/doc/*/changelog* /usr/share/man
COPY deploy/docker/fiberd.yaml /etc/fiberd/fiberd.yaml
COPY LICENSE /usr/share/doc/fiberd/LICENSE
COPY daemon/console/uplot/LICENSE /usr/share/doc/fiberd/LICENSE.uplot
COPY --from=stripped /out/usr/bin/fiberd /usr/bin/fiberd

# A root of its own for the image without Debian.
FROM furnished AS tiny-root
COPY --from=stripped /etc/ssl/certs/ca-certificates.crt /tmp/ca-certificates.crt
COPY deploy/docker/sbom deploy/docker/tiny-root /tmp/deploy/
ARG VERSION=unknown
ARG CREATED=
RUN /tmp/deploy/tiny-root /tiny "${VERSION}" "${CREATED}"

FROM scratch AS tiny
COPY --from=tiny-root /tiny /
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="fiberd" \
      org.opencontainers.image.description="A TCP and HTTP server on fibers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 \
  CMD ["/usr/bin/fiberd", "healthcheck", "-c", "/etc/fiberd/fiberd.yaml"]
ENTRYPOINT ["/usr/bin/fiberd"]
CMD ["run", "-c", "/etc/fiberd/fiberd.yaml"]

FROM furnished AS runtime
COPY deploy/docker/sbom /tmp/deploy/sbom
ARG VERSION=unknown
ARG CREATED=
RUN /tmp/deploy/sbom fiberd "${VERSION}" "${CREATED}" > /usr/share/doc/fiberd/sbom.spdx.json && rm -rf /tmp/deploy
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="fiberd" \
      org.opencontainers.image.description="A TCP and HTTP server on fibers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 \
  CMD ["/usr/bin/fiberd", "healthcheck", "-c", "/etc/fiberd/fiberd.yaml"]
ENTRYPOINT ["/usr/bin/fiberd"]
CMD ["run", "-c", "/etc/fiberd/fiberd.yaml"]
