# what a test would do
echo "$1 from $FROM"
