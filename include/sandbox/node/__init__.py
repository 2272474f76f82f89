"""The sandbox's node: what kubelet and kube-proxy are on a real machine, with processes instead of containers."""
