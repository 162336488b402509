# shellcheck shell=bash disable=SC2154
# A network between us and a service that can be cut and slowed; read by dev/services.

toxiproxy_version=v2.12.0
toxiproxy_port=${TOXIPROXY_PORT:-8474}

fetch_toxiproxy() {
    GOBIN=$fetched/toxiproxy/bin go install "github.com/Shopify/toxiproxy/v2/cmd/server@$toxiproxy_version"
}

start_toxiproxy() { spawn toxiproxy "$fetched/toxiproxy/bin/server" -host 127.0.0.1 -port "$toxiproxy_port"; }

ready_toxiproxy() { (: <>"/dev/tcp/127.0.0.1/$toxiproxy_port") 2>/dev/null; }

# toxiproxy create NAME PORT TO | slow NAME MS | fast NAME | disable NAME | enable NAME
toxiproxy() {
    local api=http://127.0.0.1:$toxiproxy_port/proxies command=$1 name=$2
    local send=(curl -sS --fail-with-body -o /dev/null -H 'content-type: application/json')
    case $command in
        create)
            "${send[@]}" "$api" -d "{\"name\": \"$name\", \"listen\": \"127.0.0.1:$3\", \"upstream\": \"127.0.0.1:$4\"}" ;;
        slow)
            "${send[@]}" "$api/$name/toxics" \
                -d "{\"name\": \"slow\", \"type\": \"latency\", \"attributes\": {\"latency\": $3, \"jitter\": $3}}" ;;
        fast) "${send[@]}" -X DELETE "$api/$name/toxics/slow" ;;
        disable) "${send[@]}" "$api/$name" -d '{"enabled": false}' ;;
        enable) "${send[@]}" "$api/$name" -d '{"enabled": true}' ;;
        *) fail "unknown command toxiproxy $command" ;;
    esac
}
