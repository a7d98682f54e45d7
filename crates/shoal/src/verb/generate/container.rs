//! `shoal gen compose`, `shoal gen systemd`: how to run peers as containers or as a service.

/// A compose file of so many peers with HAProxy and Prometheus before them.
pub(super) fn compose(peers: u16) -> String {
    let mut text = String::from(
        "# Made by `shoal gen compose`. Before the first start, in this folder:
#   echo SHOAL_MESH__TOKEN=$(shoal gen token) > .env
#   shoal gen haproxy --listen :8000 --targets p1=p1:8080,p2=p2:8080,p3=p3:8080 > haproxy.cfg
#   shoal gen prometheus --targets p1=p1:8080,p2=p2:8080,p3=p3:8080 > prometheus.yml
# The dashboard is at http://localhost:8080, any peer through the proxy at http://localhost:8000.
x-peer: &peer
  image: shoal
  build: { context: .., dockerfile: testnet/Dockerfile }
  user: \"10001:10001\"
  read_only: true
  cap_drop: [ALL]
  security_opt: [\"no-new-privileges:true\"]
  environment: { SHOAL_MESH__TOKEN: \"${SHOAL_MESH__TOKEN:?run shoal gen token first}\" }
  stop_grace_period: 15s
  restart: unless-stopped
  healthcheck:
    test: [CMD, shoal, health]
    interval: 2s
    timeout: 3s
    retries: 3
    start_period: 20s

services:
",
    );
    for peer in 1..=peers {
        let how = if peer == 1 { "--new" } else { "--join, \"p1:7946\"" };
        text.push_str(&format!(
            "  p{peer}:
    <<: *peer
    hostname: p{peer}
    command: [start, {how}, --name, p{peer}, --bind, 0.0.0.0, --advertise, p{peer}]
    volumes: [\"p{peer}:/var/lib/shoal\"]
"
        ));
        if peer == 1 {
            text.push_str("    ports: [\"127.0.0.1:8080:8080\", \"127.0.0.1:9092:9092\"]\n");
        } else {
            text.push_str("    depends_on: { p1: { condition: service_started } }\n");
        }
    }
    text.push_str(
        "  haproxy:
    image: haproxy:lts-alpine
    volumes: [\"./haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro\"]
    ports: [\"127.0.0.1:8000:8000\"]
    # It looks names up once, when it starts.
    depends_on:
",
    );
    for peer in 1..=peers {
        text.push_str(&format!("      p{peer}: {{ condition: service_healthy }}\n"));
    }
    text.push_str(
        "    restart: unless-stopped
  prometheus:
    image: prom/prometheus
    volumes: [\"./prometheus.yml:/etc/prometheus/prometheus.yml:ro\"]
    ports: [\"127.0.0.1:9090:9090\"]
    depends_on: { p1: { condition: service_healthy } }
    restart: unless-stopped

volumes:
",
    );
    for peer in 1..=peers {
        text.push_str(&format!("  p{peer}: {{}}\n"));
    }
    text
}

/// A unit for systemd.
pub(super) const SYSTEMD: &str = "# Made by `shoal gen systemd`: /etc/systemd/system/shoal.service
# First `shoal start --new --data /var/lib/shoal` or `--join …` by hand, as this user; then it goes on by itself.
[Unit]
Description=shoal peer
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/local/bin/shoal start --data /var/lib/shoal
EnvironmentFile=-/etc/shoal/environment
User=shoal
StateDirectory=shoal
WorkingDirectory=/var/lib/shoal
Restart=on-failure
RestartSec=1
# It hands its leaderships over first; a peer gives itself 12 seconds.
KillSignal=SIGTERM
TimeoutStopSec=15
LimitNOFILE=65536
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
ProtectKernelTunables=true
ProtectControlGroups=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK

[Install]
WantedBy=multi-user.target
";
