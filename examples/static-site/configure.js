// The configurator: a form in, the button and its snippet out.

const form = document.querySelector("form");
const button = document.querySelector("crypto-pay");
const code = document.querySelector("code:is(pre *)");
const DEFAULTS = { currency: "USD", "--crypto-pay-background": "#1d4ed8", "--crypto-pay-color": "#ffffff", "--crypto-pay-radius": "8" };
const UNITS = { "--crypto-pay-radius": "px" };

const escape = (text) => text.replace(/[&"<>]/g, (char) => `&#${char.charCodeAt()};`);

// WCAG's contrast ratio of two colours such as #1d4ed8.
const contrast = (...colors) => {
  const [dark, light] = colors
    .map((color) => {
      const [red, green, blue] = color
        .match(/\w\w/g)
        .map((hex) => parseInt(hex, 16) / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    })
    .sort((one, other) => one - other);
  return (light + 0.05) / (dark + 0.05);
};

const show = () => {
  const attributes = [];
  const styles = [];
  let content = "";
  for (const group of form.querySelectorAll("[data-by]")) {
    group.disabled = group.hidden = group.dataset.by !== form.elements.by.value;
  }
  for (const field of form.elements) {
    const { name, type, value, checked } = field;
    if (!name || type === "radio") continue; // a group of fields, or the choice between two
    if (field.matches(":disabled")) {
      button.removeAttribute(name);
      continue;
    }
    const isSet = type === "checkbox" ? checked : value.trim() && value !== DEFAULTS[name];
    if (name === "content") {
      content = value.trim();
    } else if (name.startsWith("--")) {
      button.style.setProperty(name, value + (UNITS[name] ?? ""));
      if (isSet) styles.push(`${name}: ${value}${UNITS[name] ?? ""};`);
    } else {
      if (!isSet) button.removeAttribute(name);
      else button.setAttribute(name, type === "checkbox" ? "" : value.trim());
      if (isSet) attributes.push(type === "checkbox" ? name : `${name}="${escape(value.trim())}"`);
    }
  }
  button.textContent = content;
  code.textContent = [
    '<script type="module" src="crypto-pay.js"></script>',
    ...(styles.length ? [`<style>\n  crypto-pay { ${styles.join(" ")} }\n</style>`] : []),
    `<crypto-pay ${attributes.join("\n  ")}>${escape(content)}</crypto-pay>`,
  ].join("\n");
  const ratio = contrast(form.elements["--crypto-pay-background"].value, form.elements["--crypto-pay-color"].value);
  document.querySelector("#contrast").textContent =
    ratio < 4.5 ? `The text is hard to read on this colour: its contrast is ${ratio.toFixed(1)}, and should be 4.5 or more.` : "";
  document.querySelector("#copied").textContent = "";
};

form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
document.querySelector(".copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(code.textContent).then(
    () => (document.querySelector("#copied").textContent = "Copied."),
    () => {
      getSelection().selectAllChildren(code);
      document.querySelector("#copied").textContent = "Selected: copy it with your keyboard.";
    },
  );
});
show();
