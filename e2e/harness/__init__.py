"""What the tests share: the cluster, the installed chart, traffic, and manifests."""
