// The words of the page, put into it by Django in the visitor's language.
export const texts = JSON.parse(document.getElementById("texts").textContent);
