// <crypto-pay> and <crypto-pay-status>: README.md beside this file says what they do. MIT License.

const PAY_ORIGINS = "https://pay.cryptocloud.plus https://pay.trybit.com";
const KEY_LIFETIME_MS = 30 * 60_000;
const REQUEST_TIMEOUT_MS = 35_000; // the service answers within 30 s
const RETRY_MS = 2000;
const MAX_RETRY_MS = 10_000;
const IN_PROGRESS_MS = 30_000;
const TAB_CHECK_MS = 300;
const POLL_MS = 5000;
const MAX_POLL_MS = 300_000;
const LAST = "crypto-pay:invoice";
const LAST_LIFETIME_MS = 24 * 3_600_000;

const BODY = ["amount", "currency", "order-id", "description"];
const VALUES = [...BODY, "items", "quantity", "email", "endpoint", "pay-origin", "prices"];
const SWITCHES = ["email-field", "new-tab", "show-amount", "disabled"];

// An error without a text of its own has "unavailable" if trying again may help, else "shop".
const TEXTS = {
  en: {
    pay: "Pay with crypto",
    email: "E-mail (optional)",
    busy: "Preparing your payment…",
    again: "Try again",
    continue: "Continue to payment",
    unavailable: "The payment service is not available right now. Nothing was charged. Please try again in a moment.",
    network_error: "The payment service could not be reached. Please check your connection and try again.",
    shop: "The payment could not be started. Nothing was charged. Please contact the shop.",
    created: "Waiting for the payment…",
    paid: "Paid. Thank you!",
    partial: "Partly paid.",
    canceled: "The invoice has expired.",
  },
  pt: {
    pay: "Pagar com cripto",
    email: "E-mail (opcional)",
    busy: "Preparando o pagamento…",
    again: "Tentar novamente",
    continue: "Continuar para o pagamento",
    unavailable: "O serviço de pagamento não está disponível agora. Nada foi cobrado. Tente novamente em instantes.",
    network_error: "Não foi possível acessar o serviço de pagamento. Verifique sua conexão e tente novamente.",
    shop: "Não foi possível iniciar o pagamento. Nada foi cobrado. Entre em contato com a loja.",
    created: "Aguardando o pagamento…",
    paid: "Pago. Obrigado!",
    partial: "Pago em parte.",
    canceled: "A fatura expirou.",
  },
  es: {
    pay: "Pagar con cripto",
    email: "Correo electrónico (opcional)",
    busy: "Preparando el pago…",
    again: "Intentar de nuevo",
    continue: "Continuar al pago",
    unavailable: "El servicio de pago no está disponible ahora. No se cobró nada. Inténtelo de nuevo en un momento.",
    network_error: "No se pudo conectar con el servicio de pago. Compruebe su conexión e inténtelo de nuevo.",
    shop: "No se pudo iniciar el pago. No se cobró nada. Póngase en contacto con la tienda.",
    created: "Esperando el pago…",
    paid: "Pagado. ¡Gracias!",
    partial: "Pagado en parte.",
    canceled: "La factura ha caducado.",
  },
  ru: {
    pay: "Оплатить криптовалютой",
    email: "Эл. почта (необязательно)",
    busy: "Готовим оплату…",
    again: "Попробовать снова",
    continue: "Перейти к оплате",
    unavailable: "Платёжный сервис сейчас недоступен. Деньги не списаны. Попробуйте снова через минуту.",
    network_error: "Не удалось связаться с платёжным сервисом. Проверьте подключение и попробуйте снова.",
    shop: "Не удалось начать оплату. Деньги не списаны. Обратитесь в магазин.",
    created: "Ожидаем оплату…",
    paid: "Оплачено. Спасибо!",
    partial: "Оплачено частично.",
    canceled: "Срок счёта истёк.",
  },
};

const STYLE = `
  :host { display: inline-block; inline-size: 18rem; max-inline-size: 100%; overflow-wrap: anywhere; }
  :host([hidden]), [hidden] { display: none !important; }
  label { display: block; margin-block-end: .75rem; }
  input, button, a { display: block; box-sizing: border-box; inline-size: 100%; min-block-size: 2.75rem;
    padding: .5rem 1rem; font: inherit; border: 1px solid #767676; border-radius: var(--crypto-pay-radius, .5rem); }
  button, a { border-color: transparent; font-weight: 600; text-align: center; text-decoration: none; cursor: pointer;
    background: var(--crypto-pay-background, #1d4ed8); color: var(--crypto-pay-color, #fff); }
  @media (hover: hover) { :is(button, a):hover { filter: brightness(1.12); } }
  :is(button, a):active { filter: brightness(.85); }
  button:disabled { filter: none; opacity: .55; cursor: not-allowed; }
  :focus-visible { outline: 3px solid var(--crypto-pay-focus, #1e3a8a); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
  [aria-busy=true] { filter: none !important; cursor: progress; }
  [aria-busy=true]::before { content: ""; display: inline-block; box-sizing: border-box; inline-size: 1em; block-size: 1em;
    margin-inline-end: .5em; vertical-align: -.125em; border: .15em solid; border-block-start-color: transparent;
    border-radius: 50%; }
  @media (prefers-reduced-motion: no-preference) { [aria-busy=true]::before { animation: turn 1s infinite linear; } }
  @keyframes turn { to { rotate: 1turn; } }
  ::slotted(*) { margin: 0; }
  bdi { white-space: nowrap; }
  bdi:not(:empty)::before { content: "· "; }
  p { margin: .75rem 0 0; }
  p:empty { margin: 0; }
  .quiet { position: absolute; clip-path: inset(50%); }
  .error { padding: .5rem .75rem; border: 1px solid; border-inline-start-width: .375rem;
    border-radius: var(--crypto-pay-radius, .5rem); color: var(--crypto-pay-error, light-dark(#991b1b, #fecaca));
    background: var(--crypto-pay-error-background, light-dark(#fef2f2, #450a0a)); }
`;

const create = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const memory = {};

const stored = (name, value) => {
  try {
    if (value === undefined) return memory[name] ?? sessionStorage.getItem(name);
    memory[name] = value;
    sessionStorage.setItem(name, value);
    delete memory[name];
  } catch {}
};

const forget = (name) => stored(name, "");

const keyOf = (name) => {
  const [kept, end] = stored(name)?.split(" ") ?? [];
  if (end > Date.now()) return kept;
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  stored(name, `${key} ${Date.now() + KEY_LIFETIME_MS}`);
  return key;
};

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

const originOf = (text) => {
  try {
    const { protocol, hostname, origin, username, password } = new URL(text);
    const safe = protocol === "https:" || (protocol === "http:" && LOOPBACK.test(hostname));
    return safe && !username && !password && origin;
  } catch {}
};

const payLink = (text, allowed) => {
  const origin = originOf(text);
  return origin && allowed.split(/[\s,]+/).some((one) => originOf(one) === origin) && text;
};

const asciiEmail = (email) =>
  email.replace(/(?<=@)[^@]*[^\0-\x7f][^@]*$/, (domain) => {
    try {
      const { href, hostname } = new URL(`http://${domain}`);
      return href === `http://${hostname}/` ? hostname : domain;
    } catch {
      return domain;
    }
  });

const openTab = (text, lang) => {
  const tab = open("", "_blank");
  try {
    const { body, documentElement } = tab.document;
    tab.document.title = body.textContent = text;
    documentElement.lang = lang;
    body.style.font = "1.25rem system-ui";
    return tab;
  } catch {
    tab?.close();
  }
};

async function post(endpoint, key, body, run) {
  const timer = setTimeout(() => run.abort(), REQUEST_TIMEOUT_MS);
  let response, reply;
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    response = await fetch(endpoint, { method: "POST", headers, body, signal: run.signal });
    reply = JSON.parse(await response.text());
  } catch (error) {
    if (run.signal.aborted) return { code: "outcome_unknown", retryMs: Infinity };
    if (!response) {
      const hint = `${error.message}. If it is CORS: is ${location.origin} in AllowedOrigins, and does no script add headers to requests?`;
      return { code: "network_error", hint, retryMs: RETRY_MS };
    }
    // Not JSON, or broken off: browsers differ in the error's class.
  } finally {
    clearTimeout(timer);
  }
  const { ok, status } = response;
  if (ok) return reply?.pay_url ? { invoice: reply } : { code: "outcome_unknown", status, retryMs: RETRY_MS };
  const { code = `http_${status}`, retryable = status === 429 || status >= 500 } = reply ?? {};
  const waitMs = response.headers.get("Retry-After") * 1000 || RETRY_MS;
  return { code, status, problem: reply, retryMs: retryable ? waitMs : undefined };
}

const langOf = (element) => {
  for (let node = element; node; node = node.getRootNode().host) {
    const found = node.closest("[lang]");
    if (found) return found.lang;
  }
  return document.documentElement.lang;
};

const textOf = (element, name) => {
  const language = TEXTS[langOf(element).split("-")[0].toLowerCase()] ?? TEXTS.en;
  return element.getAttribute(`text-${name}`) ?? language[name];
};

const emit = (element, what, detail) =>
  element.dispatchEvent(
    new CustomEvent(`crypto-pay:${what}`, { detail, bubbles: true, composed: true, cancelable: true }),
  );

// Asks less and less often, and not while nobody sees the page.
async function follow(element, { endpoint, invoice_id, name }, signal, show) {
  const url = endpoint.replace(/[^/]*$/, `info?uuid=${invoice_id}`);
  let ask;
  addEventListener("visibilitychange", () => ask?.(), { signal });
  for (let waitMs = POLL_MS; waitMs < MAX_POLL_MS; waitMs *= 1.1) {
    try {
      const response = await fetch(url, { signal });
      if (/^4(?!29)/.test(response.status)) return; // will stay so
      const { status_invoice: status } = await response.json();
      if (signal.aborted) return;
      const paid = /paid$/.test(status); // or overpaid
      const final = paid || status === "canceled";
      if (final) forget(name);
      if (status) show(paid ? "paid" : status);
      if (paid) emit(element, "paid", { invoice_id, status });
      if (final) return;
    } catch {}
    await new Promise((resolve) => {
      ask = () => document.hidden || resolve();
      setTimeout(ask, waitMs);
    });
    if (signal.aborted) return;
  }
}

// What is no number, the service refuses.
const itemsOf = (text, quantity) =>
  text.split(/\s+/).map((item) => {
    const [id, count = quantity] = item.split(":");
    return { id, quantity: +count || count };
  });

const lists = {};
const listOf = (url) => (lists[url] ??= fetch(url, { cache: "no-cache" }).then((reply) => reply.json()));

const buttons = new Set();

const Base = globalThis.HTMLElement ?? class {}; // on a server there are no elements

export class CryptoPay extends Base {
  static observedAttributes = [...VALUES, "email-field"];

  #run;
  #following;
  #kept;
  #invoice;
  #list;
  #state = { name: "idle" };
  #observer = new MutationObserver(() => this.#render());
  #slotted = create("slot", {});
  #label = create("span", { dir: "auto" });
  #amount = create("bdi", {});
  #button = create("button", { type: "button", part: "button" }, this.#slotted, this.#label, " ", this.#amount);
  #link = create("a", { part: "button", dir: "auto", hidden: "" });
  #message = create("p", { part: "message", role: "status", id: "message", dir: "auto" });
  #emailLabel = create("span", { dir: "auto" });
  #email = create("input", { type: "email", part: "email", autocomplete: "email", maxlength: 254, dir: "ltr" });
  #field = create("label", { part: "label", hidden: "" }, this.#emailLabel, this.#email);

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).append(this.#field, this.#button, this.#link, this.#message);
    this.adoptedCallback();
    this.#button.addEventListener("click", () => this.pay());
    this.#link.addEventListener("click", (event) => this.#open(event));
    // 229 is Safari's word for an Enter that ends a composition.
    this.#email.addEventListener(
      "keydown",
      (event) => event.key === "Enter" && !event.isComposing && event.keyCode !== 229 && this.pay(),
    );
  }

  reset() {
    this.#forgetKept();
    forget(this.#purchase().name);
    this.#stop();
  }

  focus(options) {
    (this.#link.hidden ? this.#button : this.#link).focus(options);
  }

  click() {
    this.#button.click();
  }

  connectedCallback() {
    for (const [name, value] of Object.entries(this)) {
      delete this[name]; // set before this file came
      this[name] = value;
    }
    buttons.add(this);
    addEventListener("pagehide", this.#stop);
    this.#observer.observe(this, { attributes: true, childList: true, characterData: true, subtree: true });
    this.#render();
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (this.isConnected) return;
      buttons.delete(this);
      removeEventListener("pagehide", this.#stop);
      this.#observer.disconnect();
      this.#stop();
    });
  }

  // A style sheet of one document: a strict CSP allows no <style>.
  adoptedCallback() {
    const { CSSStyleSheet } = this.ownerDocument.defaultView ?? {};
    if (!CSSStyleSheet) return;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.shadowRoot.adoptedStyleSheets = [sheet];
  }

  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "email") this.#email.value = now ?? "";
    this.#stop();
    if (name === "prices") this.#readPrices();
    else if (this.#list) this.#show("idle", this.#price()); // so that everybody hears the new total
  }

  async pay() {
    if (this.#run || this.#is("disabled") || this.#state.name === "paid") return;
    if (this.#is("email-field")) {
      this.#email.value = asciiEmail(this.#email.value);
      if (!this.#email.reportValidity()) return;
    }
    if (!emit(this, "request", this.#purchase().fields) || this.#run) return;
    this.#following?.abort();
    const run = (this.#run = new AbortController());
    this.#show("busy", textOf(this, "busy"));
    let tab, watch;
    try {
      if (this.#is("new-tab")) tab = openTab(textOf(this, "busy"), langOf(this));
      if (tab) watch = setInterval(() => tab.closed && this.#run === run && this.#stop(), TAB_CHECK_MS);
      const outcome = await this.#request(run);
      if (this.#run !== run) return;
      if (!outcome.url) this.#fail(outcome);
      else if (!emit(this, "created", outcome.invoice)) this.#stop();
      else {
        const { endpoint, name } = this.#kept;
        const { invoice_id } = outcome.invoice;
        this.#invoice = { endpoint, name, invoice_id, end: Date.now() + LAST_LIFETIME_MS };
        try {
          localStorage.setItem(LAST, JSON.stringify(this.#invoice));
        } catch {}
        this.#leave(outcome.url, tab, run);
        tab = undefined; // the pay page is in it
      }
    } catch (error) {
      if (this.#run === run) this.#fail({ code: "unexpected_error", hint: error });
    } finally {
      clearInterval(watch);
      tab?.close();
    }
  }

  #leave(url, tab, run) {
    if (tab && !tab.closed) {
      this.#stop();
      tab.location.replace(url);
      this.#follow();
      tab.opener = null; // not before: a sandboxed frame could not steer it
    } else if (top === window) {
      location.assign(url);
      setTimeout(() => this.#run === run && this.#stop(), 10_000);
    } else {
      // Never within a frame: the buyer must see whose page it is.
      this.#stop();
      const focused = this.shadowRoot.activeElement === this.#button;
      this.#link.href = url;
      this.#show("ready", textOf(this, "continue"));
      if (focused) this.#link.focus();
      try {
        top.location.href = url; // all that another origin may do
      } catch {}
    }
  }

  #follow() {
    this.#following = new AbortController();
    follow(this, this.#invoice, this.#following.signal, (status) =>
      this.#show(status === "paid" ? status : "open", textOf(this, status)),
    );
  }

  #open(event) {
    event.preventDefault();
    const { href } = this.#link;
    let tab;
    try {
      tab = open(href, "_blank");
      tab.opener = null;
    } catch {}
    if (!tab) return location.assign(href);
    this.#stop();
    this.#follow();
  }

  #get(name) {
    return this.getAttribute(name)?.trim() ?? "";
  }

  #is(name) {
    return isOn(this.getAttribute(name));
  }

  #purchase() {
    const endpoint = this.#get("endpoint");
    const items = this.#get("items");
    const fields = {};
    for (const name of BODY) {
      const value = this.#get(name);
      if (value) fields[name.replace("-", "_")] = value;
    }
    if (items) fields.items = itemsOf(items, this.#get("quantity") || 1);
    // Not the e-mail address: the name is stored.
    const name = `crypto-pay:${endpoint}${JSON.stringify(fields)}`;
    const email = this.#is("email-field") ? this.#email.value : this.#get("email");
    if (email) fields.email = email;
    return { endpoint, fields, name, body: JSON.stringify(fields) };
  }

  // Unless another button is for the same purchase.
  #forgetKept() {
    const name = this.#kept?.name;
    if (name && ![...buttons].some((other) => other !== this && other.#purchase().name === name)) forget(name);
  }

  async #request(run) {
    const payOrigins = this.#get("pay-origin") || PAY_ORIGINS;
    const purchase = this.#purchase();
    const { endpoint, fields, body, name } = purchase;
    const { amount, items } = fields;
    if (!endpoint) return { code: "attribute_missing", hint: "endpoint" };
    if (!amount === !items) return { code: amount ? "attribute_conflict" : "attribute_missing", hint: "amount or items" };
    if (this.#kept?.body !== body) this.#forgetKept();
    this.#kept = purchase;
    const end = Date.now() + IN_PROGRESS_MS;
    for (let retries = 1; ; ) {
      const outcome = await post(endpoint, keyOf(name), body, run);
      if (outcome.invoice) {
        outcome.url = payLink(outcome.invoice.pay_url, payOrigins);
        if (outcome.url) return outcome;
        return { code: "foreign_pay_url", hint: `pay_url is not of ${payOrigins}. Is that the stack's PayOrigins?` };
      }
      if (outcome.code === "idempotency_key_reused") {
        forget(name);
        outcome.retryMs = 0;
      }
      const waits = outcome.code === "invoice_in_progress" && Date.now() + outcome.retryMs < end;
      if (!waits && (!retries-- || !(outcome.retryMs <= MAX_RETRY_MS))) return outcome;
      await new Promise((resolve) => setTimeout(resolve, outcome.retryMs));
      if (run.signal.aborted) return outcome;
    }
  }

  #fail({ code, status, problem, hint, retryMs }) {
    const retryable = retryMs !== undefined;
    const message = textOf(this, code) ?? textOf(this, retryable ? "unavailable" : "shop");
    console.error(`<crypto-pay>: ${code}.`, hint ?? problem);
    this.#stop();
    if (emit(this, "error", { code, status, retryable, message, problem })) {
      this.#show("failed", message, retryable);
    }
  }

  #stop = () => {
    this.#run?.abort();
    this.#following?.abort();
    this.#run = undefined;
    this.#show("idle");
  };

  #show(name, message = "", retryable = false) {
    this.#state = { name, message, retryable };
    this.#render();
  }

  #render() {
    const { name, message, retryable } = this.#state;
    const busy = name === "busy";
    const failed = name === "failed";
    const ready = name === "ready";
    const paid = name === "paid";
    const label = busy || paid ? name : retryable ? "again" : "pay";
    const text = this.textContent.trim();
    this.#slotted.hidden = label !== "pay" || !(text || this.firstElementChild);
    set(this.#label, this.#slotted.hidden ? textOf(this, label) : "");
    set(this.#amount, label === "pay" && (this.#list || this.#is("show-amount")) ? this.#price() : "");
    set(this.#link, textOf(this, "continue"));
    set(this.#message, message);
    set(this.#emailLabel, textOf(this, "email"));
    this.#message.className = failed ? "error" : name === "open" ? "" : "quiet";
    this.#field.hidden = !this.#is("email-field");
    this.#email.readOnly = busy;
    this.#email.disabled = this.#button.disabled = this.#is("disabled");
    this.#button.hidden = ready;
    this.#link.hidden = !ready;
    this.#button.setAttribute("aria-busy", busy);
    this.#button.setAttribute("aria-disabled", busy || paid); // disabled would lose the focus
    this.#button.setAttribute("aria-describedby", failed ? "message" : "");
    const named = this.#slotted.hidden || text || this.querySelector("[alt], [aria-label], title");
    this.#button.setAttribute("aria-label", named ? "" : textOf(this, "pay"));
  }

  async #readPrices() {
    const url = this.#get("prices");
    this.#list = undefined;
    try {
      const list = url && (await listOf(url));
      if (url === this.#get("prices")) this.#list = list;
    } catch (error) {
      console.error(`<crypto-pay>: no price list at ${url}.`, error);
    }
    this.#render();
  }

  // For the eyes, which see it rounded: the service adds up by itself.
  #price() {
    let { amount, items, currency = "USD" } = this.#purchase().fields;
    try {
      if (items) {
        const costs = items.map(({ id, quantity }) => this.#list.items[id].price * quantity);
        amount = costs.reduce((sum, cost) => sum + cost);
        currency = this.#list.currency;
      }
      const format = new Intl.NumberFormat(langOf(this) || undefined, { style: "currency", currency });
      return amount > 0 ? format.format(amount) : "";
    } catch {
      return items ? "" : `${amount} ${currency}`;
    }
  }
}

export class CryptoPayStatus extends Base {
  #run;
  #message = create("p", { part: "message", role: "status", dir: "auto" });

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).append(this.#message);
  }

  connectedCallback() {
    this.#run = new AbortController();
    try {
      const invoice = JSON.parse(localStorage.getItem(LAST));
      if (!(invoice.end > Date.now())) return;
      follow(this, invoice, this.#run.signal, (status) => set(this.#message, textOf(this, status)));
    } catch {}
  }

  disconnectedCallback() {
    this.#run.abort();
  }
}

const isOn = (value) => value !== null && value.trim().toLowerCase() !== "false";

const set = (element, text) => element.textContent === text || (element.textContent = text);

for (const name of [...VALUES, ...SWITCHES]) {
  const isSwitch = SWITCHES.includes(name);
  Object.defineProperty(CryptoPay.prototype, name.replace(/-(.)/, (_, letter) => letter.toUpperCase()), {
    get() {
      return isSwitch ? isOn(this.getAttribute(name)) : (this.getAttribute(name) ?? "");
    },
    set(value) {
      if (isSwitch) value = value && isOn(`${value}`) ? "" : null;
      if (value == null) this.removeAttribute(name);
      else this.setAttribute(name, value);
    },
  });
}

if (globalThis.customElements && !customElements.get("crypto-pay")) {
  customElements.define("crypto-pay", CryptoPay);
  customElements.define("crypto-pay-status", CryptoPayStatus);
}
