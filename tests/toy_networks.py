"""Every architecture and head, small."""

HEADS = {
    "rotated": {"_target_": "dmftnet.models.networks.heads.RotatedHead"},
    "direct": {"_target_": "dmftnet.models.networks.heads.DirectHead"},
}
NETWORKS = {
    "crossattn": {
        "_target_": "dmftnet.models.networks.crossattn.CrossAttention",
        "width": 16,
        "n_heads": 2,
    },
    "crossquery": {
        "_target_": "dmftnet.models.networks.crossquery.CrossQuery",
        "width": 16,
        "n_heads": 2,
    },
    "encdec": {
        "_target_": "dmftnet.models.networks.encdec.EncoderDecoder",
        "width": 16,
        "n_heads": 2,
    },
    "film": {
        "_target_": "dmftnet.models.networks.film.Film",
        "width": 16,
        "n_heads": 2,
        "n_blocks": 2,
    },
    "mlp": {"_target_": "dmftnet.models.networks.mlp.MLP", "width": 16, "n_blocks": 1},
}
