#!/usr/bin/env bash
# Steps 1, 2, 3 and 5 of the plan's production deployment as a person types them, without any guard, record or
# question; what the DAG's wall time is compared with. Two commands differ from the plan's: green is a Helm release of
# its own (the plan's would replace blue in place), and blue is scaled to zero instead of deleted.
#
# Environment: HELM, KUBECTL (programs), KUBECONFIG, NAMESPACE, CHART, VALUES (file), STEM (of the Helm releases'
# names), REPLICAS, PUBLIC_URL, PREVIEW_URL.
set -euo pipefail

kubectl() { "$KUBECTL" -n "$NAMESPACE" "$@"; }
get() { curl --fail --silent --show-error --output /dev/null --retry 5 --retry-delay 1 --retry-all-errors "$1"; }

# Step 1: deploy green
"$HELM" upgrade --install "$STEM-green" "$CHART" --namespace "$NAMESPACE" --values "$VALUES" --wait --timeout 120s
kubectl scale deployment "$STEM-green" --replicas="$REPLICAS"
kubectl rollout status deployment "$STEM-green" --timeout=120s

# Step 2: verify green
kubectl get pods -l version=green
for path in /healthz /readyz / /api/v1/articles /api/v1/orders; do get "$PREVIEW_URL$path"; done

# Step 3: cut over and verify
kubectl patch service valeo-erp -p '{"spec":{"selector":{"version":"green"}}}'
for path in /healthz /readyz / /api/v1/articles /api/v1/orders; do get "$PUBLIC_URL$path"; done

# Step 5: clean blue up
kubectl scale deployment "$STEM-blue" --replicas=0
kubectl wait --for=delete pod -l version=blue --timeout=120s
