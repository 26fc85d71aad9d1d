package diffusion

// kinds is what a descriptor's kind may be: one line for every family of networks.
var kinds = map[string]kind{
	"unet":       {RoleDenoiser, func() shape { return new(unet) }},
	"vae_decode": {RoleDecoder, func() shape { return new(vaeDecoder) }},
	"pixart":     {RoleDenoiser, func() shape { return new(pixart) }},
	"flux":       {RoleDenoiser, func() shape { return new(flux) }},
	"cogvideox":  {RoleDenoiser, func() shape { return new(cogvideox) }},
	"wan":        {RoleDenoiser, func() shape { return new(wan) }},
	"clip":       {RoleEncoder, func() shape { return new(clip) }},
	"t5":         {RoleEncoder, func() shape { return new(t5) }},
}
