# Two stages: the first builds with what deploy/packages.txt calls [build]; the second holds the binary, the libraries of
# [runtime], and a user without rights.
FROM debian:bookworm-slim AS build
WORKDIR /src
# Before the sources, so that a change of code does not install the compiler again.
COPY deploy/packages.txt deploy/install-packages deploy/
RUN deploy/install-packages build && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset release -DFIBERD_TESTS=OFF && cmake --build --preset release --target fiberd

FROM debian:bookworm-slim
COPY deploy/packages.txt deploy/install-packages /tmp/deploy/
RUN /tmp/deploy/install-packages runtime && rm -rf /tmp/deploy /var/lib/apt/lists/* \
 && useradd --system --user-group --uid 10001 --no-create-home --shell /usr/sbin/nologin fiberd
COPY --from=build /src/build/release/fiberd /usr/bin/fiberd
COPY --from=build /src/LICENSE /usr/share/doc/fiberd/LICENSE
COPY --from=build /src/daemon/console/uplot/LICENSE /usr/share/doc/fiberd/LICENSE.uplot
USER 10001:10001
# web, echo; the admin listener stays on loopback inside the container unless the configuration says otherwise.
EXPOSE 8080 7000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/fiberd"]
CMD ["run"]
