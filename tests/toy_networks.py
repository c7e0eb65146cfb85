"""Every architecture and head, small."""

ROOM = "dmftnet.models.networks"
HEADS = {
    "rotated": {"_target_": f"{ROOM}.heads.RotatedHead"},
    "direct": {"_target_": f"{ROOM}.heads.DirectHead"},
    "self_energy": {"_target_": f"{ROOM}.self_energy_head.SelfEnergyHead"},
}
NETWORKS = {
    "crossattn": {"_target_": f"{ROOM}.crossattn.CrossAttention", "width": 16, "n_heads": 2},
    "crossquery": {"_target_": f"{ROOM}.crossquery.CrossQuery", "width": 16, "n_heads": 2},
    "encdec": {"_target_": f"{ROOM}.encdec.EncoderDecoder", "width": 16, "n_heads": 2},
    "film": {"_target_": f"{ROOM}.film.Film", "width": 16, "n_heads": 2, "n_blocks": 2},
    "mlp": {"_target_": f"{ROOM}.mlp.MLP", "width": 16, "n_blocks": 1},
}
