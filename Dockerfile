# Both programs and nothing else: Caddy with ipfs_registry, which the image runs,
# and the converter. See docs/cookbook.md.

ARG GO=golang:1.26
FROM ${GO} AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /image/usr/bin/ ./cmd/caddy ./cmd/converter
RUN cd /image \
	&& install -D -m 644 /src/Caddyfile.example etc/caddy/Caddyfile \
	&& install -D -m 644 /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt \
	&& mkdir -p config data srv var/lib/ipfs-registry \
	&& mkdir -m 1777 tmp

FROM scratch
COPY --from=build /image /
# As in Caddy's own image: certificates are in /data, the last configuration from
# the API is in /config.
ENV PATH=/usr/bin XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
LABEL org.opencontainers.image.title="caddy-ipfs-registry" \
	org.opencontainers.image.description="Container images on IPFS: the registry and the converter" \
	org.opencontainers.image.source="https://github.com/seed-9e24ebb9/caddy-ipfs-registry" \
	org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 80 443 443/udp 2019 5000
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
