// The input is the global string `input`; the value of the last statement is the output.
const { below } = JSON.parse(input);
const composite = new Uint8Array(below);
const primes = [];
for (let i = 2; i < below; i++) {
	if (composite[i]) continue;
	primes.push(i);
	for (let j = i * i; j < below; j += i) composite[j] = 1;
}
JSON.stringify({ count: primes.length, last: primes.at(-1) });
