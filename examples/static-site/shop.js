// The buyer chooses how many: the button is given the number, and says what so many cost.

document.querySelector("#quantity").addEventListener("change", ({ target }) => {
  document.querySelector("crypto-pay").quantity = target.value;
});
