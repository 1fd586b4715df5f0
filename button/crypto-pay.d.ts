/** What is bought: an id of the shop's price list, and how many. */
export interface CryptoPayItem {
  id: string;
  /** A number; what the page wrote where that is none, which the service refuses. */
  quantity: number | string;
}

/** What the page asks the service for, under the names of its contract: `amount` or `items`. */
export interface CryptoPayRequest {
  amount?: string;
  items?: CryptoPayItem[];
  currency?: string;
  order_id?: string;
  email?: string;
  description?: string;
}

/** The service's reply to a created invoice. */
export interface CryptoPayInvoice {
  status: "success";
  pay_url: string;
  currency: string;
  invoice_id: string;
  amount?: number;
  amount_usd?: number;
}

export interface CryptoPayError {
  /** A code of the service's error table, or one of the element's own. */
  code: string;
  /** The HTTP status, if there was a reply. */
  status?: number;
  /** Whether trying again may help. */
  retryable: boolean;
  /** What the buyer reads. */
  message: string;
  /** The reply: RFC 9457 problem details, if it was that. */
  problem?: unknown;
}

/** Setters take what a page has at hand; `null` and `undefined` remove the attribute. */
type Text = string | number | null | undefined;

export declare class CryptoPay extends HTMLElement {
  get endpoint(): string;
  set endpoint(value: Text);
  get amount(): string;
  set amount(value: Text);
  get items(): string;
  set items(value: Text);
  get quantity(): string;
  set quantity(value: Text);
  get prices(): string;
  set prices(value: Text);
  get currency(): string;
  set currency(value: Text);
  get orderId(): string;
  set orderId(value: Text);
  get description(): string;
  set description(value: Text);
  get email(): string;
  set email(value: Text);
  get payOrigin(): string;
  set payOrigin(value: Text);
  emailField: boolean;
  newTab: boolean;
  showAmount: boolean;
  disabled: boolean;
  /** Pays, as a click does. */
  pay(): Promise<void>;
  /** Makes the next click a new purchase. */
  reset(): void;
}

/** Says what becomes of the last invoice that a button made in this browser. */
export declare class CryptoPayStatus extends HTMLElement {}

/** What it costs, or what is bought. */
type Purchase =
  | { amount: string | number; items?: never; quantity?: never; prices?: never }
  | { items: string; quantity?: string | number; prices?: string; amount?: never };

/** The texts of an element that are the page's own. */
export interface CryptoPayTexts {
  [text: `text-${string}`]: string | undefined;
}

/** The attributes, as a template writes them. */
export type CryptoPayAttributes = Purchase & CryptoPayTexts & {
  endpoint: string;
  currency?: string;
  "order-id"?: string | number;
  description?: string;
  email?: string;
  "pay-origin"?: string;
  "email-field"?: boolean | "true" | "false" | "";
  "new-tab"?: boolean | "true" | "false" | "";
  "show-amount"?: boolean | "true" | "false" | "";
  disabled?: boolean;
};

/** The events, by name. All bubble, are composed, and can be cancelled. */
export interface CryptoPayEvents {
  "crypto-pay:request": CustomEvent<CryptoPayRequest>;
  "crypto-pay:created": CustomEvent<CryptoPayInvoice>;
  "crypto-pay:error": CustomEvent<CryptoPayError>;
  "crypto-pay:paid": CustomEvent<{ invoice_id: string; status: "paid" | "overpaid" }>;
}

declare global {
  interface HTMLElementTagNameMap {
    "crypto-pay": CryptoPay;
    "crypto-pay-status": CryptoPayStatus;
  }
  interface GlobalEventHandlersEventMap extends CryptoPayEvents {}
}
