package diffusion

// kinds is what a descriptor's kind may be: one line for every family of networks.
var kinds = map[string]kind{
	"unet":       {RoleDenoiser, func() shape { return new(unet) }},
	"vae_decode": {RoleDecoder, func() shape { return new(vaeDecoder) }},
}
