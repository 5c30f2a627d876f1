python finetune.py --model_name_or_path Qwen/Qwen-1_8B --data_path chats.json --eval_data_path held_out.json \
  --bf16 True --output_dir out --num_train_epochs 2 --per_device_train_batch_size 1 --gradient_accumulation_steps 16 \
  --learning_rate 1e-5 --model_max_length 2048 --gradient_checkpointing True --lazy_preprocess True
