"""Every architecture and head, small."""

HEADS = {
    "rotated": {"_target_": "dmftnet.models.heads.RotatedHead"},
    "direct": {"_target_": "dmftnet.models.heads.DirectHead"},
}
NETWORKS = {
    "crossattn": {"_target_": "dmftnet.models.crossattn.CrossAttention", "width": 16, "n_heads": 2},
    "crossquery": {"_target_": "dmftnet.models.crossquery.CrossQuery", "width": 16, "n_heads": 2},
    "encdec": {"_target_": "dmftnet.models.encdec.EncoderDecoder", "width": 16, "n_heads": 2},
    "film": {"_target_": "dmftnet.models.film.Film", "width": 16, "n_heads": 2, "n_blocks": 2},
    "mlp": {"_target_": "dmftnet.models.mlp.MLP", "width": 16, "n_blocks": 1},
}
