const messages = {
  wrong_token: "The token is wrong.",
  too_many_attempts: "Too many wrong tokens. Try again in a minute.",
};
const code = new URLSearchParams(location.search).get("error");
if (code !== null) {
  document.getElementById("error").textContent = messages[code] ?? "Signing in failed.";
}
