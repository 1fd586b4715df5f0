import vue from "@vitejs/plugin-vue";

export default {
  base: "./",
  build: { modulePreload: false },
  plugins: [vue({ template: { compilerOptions: { isCustomElement: (tag) => tag === "crypto-pay" } } })],
};
