package diffusion

// kinds is what a descriptor's kind may be: one line for every family of networks.
var kinds = map[string]kind{
	"unet":             {RoleDenoiser, func() shape { return new(unet) }},
	"unet_motion":      {RoleDenoiser, func() shape { return new(unetMotion) }},
	"unet_video":       {RoleDenoiser, func() shape { return new(unetVideo) }},
	"vae_decode":       {RoleDecoder, func() shape { return new(vaeDecoder) }},
	"vae_encode":       {RoleEncoder, func() shape { return new(vaeEncoder) }},
	"pixart":           {RoleDenoiser, func() shape { return new(pixart) }},
	"flux":             {RoleDenoiser, func() shape { return new(flux) }},
	"cogvideox":        {RoleDenoiser, func() shape { return new(cogvideox) }},
	"wan":              {RoleDenoiser, func() shape { return new(wan) }},
	"clip":             {RoleEncoder, func() shape { return new(clip) }},
	"t5":               {RoleEncoder, func() shape { return new(t5) }},
	"swin_unet":        {RoleDenoiser, func() shape { return new(swinUNet) }},
	"vq_encode":        {RoleEncoder, func() shape { return new(vqEncoder) }},
	"vq_decode":        {RoleDecoder, func() shape { return new(vqDecoder) }},
	"cogvideox_decode": {RoleDecoder, func() shape { return new(cogvideoxDecoder) }},
	"wan_decode":       {RoleDecoder, func() shape { return new(wanDecoder) }},
	"sd3":              {RoleDenoiser, func() shape { return new(sd3) }},
}
