export default { base: "/built/", build: { assets: "assets" } };
